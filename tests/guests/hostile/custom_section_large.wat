;; An honest component, larger than the host likes and just within what it allows.
;;@ custom-section-bytes 7000000
