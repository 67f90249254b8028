;; An honest component that also holds one function of 7.6 MB.
;;@ repeat:BODY [630000, "(drop (i64.const -1111111111111111111))"]
(module
  (func <<BODY>>))
