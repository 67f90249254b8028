;; An honest component that also holds one whose types double: the last one has 2 to the power of
;; `each` members.
;;@ each [10, 18, 20, 24, 40]
;;@ repeat:PAIRS [<<each>>, "(type $t{n} (tuple $t{p} $t{p}))\n"]
(component
  (type $t0 (tuple u8 u8))
  <<PAIRS>>
  (type (func (param "x" $t<<each>>))))
