"""What the recipes are compared with: a GMM-HMM trained on the same data, and ready-made recognisers."""
