"""The trained model as one folder. Finished stages enter; a bundle that recognises elsewhere leaves."""
