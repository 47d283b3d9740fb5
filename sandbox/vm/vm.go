package vm
