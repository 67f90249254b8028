;; A component that imports one interface twice: the second could be another than was checked.
;;@ whole true
(component
  (import "helix:toolpack/log@1.0.0" (instance))
  (import "helix:toolpack/log@1.0.0" (instance (export "log" (func)))))
