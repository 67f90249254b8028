;; A module that asks for 4 GiB before its first instruction.
;;@ pages 65536
