;; An honest component that also holds a module with twenty tables: each is small, all are not.
;;@ repeat:TABLES [20, "(table 15000 funcref)\n"]
(module
  <<TABLES>>)
