;; An honest component with more core instances than policy allows.
;;@ instantiate 33
(module)
