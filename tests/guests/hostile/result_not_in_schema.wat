;; A result that its own schema does not allow.
;;@ result "{\"surprise\":1}"
