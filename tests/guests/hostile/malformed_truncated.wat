;; A component whose last bytes are missing.
;;@ truncate 200
