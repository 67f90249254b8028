;; An honest component that also holds a module with more functions than policy allows.
;;@ each [200000, 1000000]
;;@ repeat:FUNCTIONS [<<each>>, "(func)"]
(module
  <<FUNCTIONS>>)
