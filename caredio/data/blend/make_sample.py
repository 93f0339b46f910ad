"""Make the files of this folder of BLEnD's annotations: the same annotations give the same rows.

git clone https://github.com/nlee0212/BLEnD
python caredio/data/blend/make_sample.py BLEnD/data/annotations caredio/data/blend
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq

from caredio import blend

if __name__ == "__main__":
    for name, made in (("blend_sample", blend.sample), ("blend_own", blend.own)):
        pq.write_table(made(Path(sys.argv[1])), Path(sys.argv[2]) / f"{name}.parquet", compression="zstd")
