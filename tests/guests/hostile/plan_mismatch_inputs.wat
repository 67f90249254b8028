;; Plans to read an input that the call does not link.
;;@ plan-inputs ["data"]
