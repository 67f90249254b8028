;; Writes text where it declares a BAM.
;;@ output-type "BAM"
;;@ output-check 2
