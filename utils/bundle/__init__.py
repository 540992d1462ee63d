"""The trained model as one folder. Finished stages enter; a bundle leaves, with which other machines can recognise speech."""
