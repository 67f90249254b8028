;; A small component of very many parts.
;;@ custom-sections 100000
