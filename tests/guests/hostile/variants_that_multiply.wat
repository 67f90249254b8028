;; An honest component that also holds one with a variant of 9,000 cases, nested in variants.
;;@ repeat:CASES [9000, "(case \"c{n}\" u8)\n"]
;;@ repeat:NESTED [12, "(type $v{n} (variant (case \"a\" $v{p}) (case \"b\" $v{p}) (case \"c\" $v{p})))\n"]
(component
  (type $v0 (variant <<CASES>>))
  <<NESTED>>
  (type (func (param "x" $v12))))
