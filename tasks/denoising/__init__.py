"""Image denoising: tables 6.1 and 6.2, figures 6.1 and 6.2 of the thesis (sections 6.1, 6.4.1)."""
