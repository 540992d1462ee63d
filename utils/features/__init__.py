"""Front ends: waveforms in, features out (filter banks, or hidden states of a frozen encoder), as stage 1 stores them."""
