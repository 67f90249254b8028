;; A component made larger than the cap by a section that no tool reads.
;;@ custom-section-bytes 9000000
