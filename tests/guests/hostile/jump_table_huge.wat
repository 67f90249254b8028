;; An honest component that also holds a function with a jump to a million places.
;;@ repeat:LABELS [1000000, "0 "]
(module
  (func (param i32)
    local.get 0
    br_table <<LABELS>>))
