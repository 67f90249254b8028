;; Plans to read its input, and does not.
;;@ plan-inputs ["data"]
