;; An honest component with something behind its end.
;;@ trailing "and so on"
