;; An honest component that also holds a thousand empty modules.
;;@ repeat:MODULES [1000, "(core module)\n"]
(component
  <<MODULES>>)
