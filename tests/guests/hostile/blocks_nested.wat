;; An honest component that also holds a function of 5,000 blocks in one another, with one jump to
;; any of them.
;;@ repeat:OPEN [5000, "block "]
;;@ repeat:LABELS [5000, "{n} "]
;;@ repeat:CLOSE [5000, "end "]
(module
  (func (param i32)
    <<OPEN>>
    local.get 0
    br_table <<LABELS>>
    <<CLOSE>>))
