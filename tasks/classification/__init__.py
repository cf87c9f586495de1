"""Image classification by Fixed Point Networks (Wu Fung et al. 2021): tables 1 and 2, figures 5 to 7 of that paper."""
