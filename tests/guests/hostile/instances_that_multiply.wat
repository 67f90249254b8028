;; Few instances are written; each of them makes seven, which make seven each.
;;@ instantiate 1
;;@ repeat:MODULES [7, "(core instance (instantiate $m))\n"]
;;@ repeat:MIDDLES [7, "(instance (instantiate $inner))\n"]
;;@ repeat:OUTERS [7, "(instance (instantiate $b))\n"]
(component $outer
  (component $a
    (core module $m (func))
    <<MODULES>>)
  (component $b
    (alias outer $outer $a (component $inner))
    <<MIDDLES>>)
  <<OUTERS>>)
