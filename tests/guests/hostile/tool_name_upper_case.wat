;; A tool whose name differs from another's by the size of its letters.
;;@ tool "Echo"
