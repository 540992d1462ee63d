"""Front ends. Waveforms enter; filter banks or the frames of a frozen encoder leave, stored by stage 1."""
