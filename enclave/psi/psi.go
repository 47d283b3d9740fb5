// Package psi finds what two parties have in common without either showing the rest: private set
// intersection by Diffie-Hellman.
package psi
