"""Optical flow, thesis 6.2: FlowNetS with an FPI layer, and PWC-Net with a learned Horn-Schunck energy."""
