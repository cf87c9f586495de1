"""Optical flow (thesis 6.2, 6.4.2): FlowNetS with an FPI layer, and a learned Horn-Schunck energy."""
