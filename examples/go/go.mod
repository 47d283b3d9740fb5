module notary

go 1.26
