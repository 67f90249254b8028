;; A component that exports types where functions of these names are meant.
;;@ whole true
(component
  (type $t u32)
  (export "describe" (type $t))
  (export "plan" (type $t))
  (export "run" (type $t)))
