"""Optical flow of two images: python scripts/flow.py A.png B.png --checkpoint last.ckpt -o flow.flo [--png]."""

from tasks.flow.estimate_cli import main

if __name__ == "__main__":
    main()
