;; A summary that is not text.
;;@ summary-bytes [255, 254, 104, 105]
