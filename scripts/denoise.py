"""Denoise image files: python scripts/denoise.py IMAGE... --checkpoint JOB/best.ckpt [--sigma 25] -o out.png."""

import sys

from tasks.denoising.restore import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
