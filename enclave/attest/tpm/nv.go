package tpm

import (
	"errors"

	"github.com/google/go-tpm/tpm2"

	"surety/base/errs"
)

// describeNV returns an index's public area and name; kind NotFound where it is not defined.
func (d *Device) describeNV(index uint32) (*tpm2.TPMSNVPublic, tpm2.TPM2BName, error) {
	read, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(d.tpm)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, tpm2.TPM2BName{}, errs.New(errs.NotFound, "tpm.nv: index %#x is not defined", index)
	}
	if err != nil {
		return nil, tpm2.TPM2BName{}, errs.As(errs.Unavailable, err, "tpm.nv: index %#x", index)
	}
	public, err := read.NVPublic.Contents()
	return public, read.NVName, errs.As(errs.Internal, err, "tpm.nv: index %#x", index)
}

// readNV reads all of an index that anyone may read, or its owner with an empty password.
func (d *Device) readNV(index uint32) ([]byte, error) {
	public, name, err := d.describeNV(index)
	if err != nil {
		return nil, err
	}
	if public.DataSize > maxCertificate {
		return nil, errs.New(errs.TooLarge, "tpm.nv: index %#x has %d bytes, the limit is %d", index,
			public.DataSize, maxCertificate)
	}
	handle := tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: name}
	auth := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	if public.Attributes.AuthRead {
		auth = tpm2.AuthHandle{Handle: handle.Handle, Name: name, Auth: tpm2.PasswordAuth(nil)}
	}
	var data []byte
	for len(data) < int(public.DataSize) {
		read, err := tpm2.NVRead{AuthHandle: auth, NVIndex: handle,
			Size:   uint16(min(nvBlock, int(public.DataSize)-len(data))),
			Offset: uint16(len(data))}.Execute(d.tpm)
		if err != nil {
			return nil, errs.As(errs.Unavailable, err, "tpm.nv: read index %#x", index)
		}
		if len(read.Data.Buffer) == 0 {
			return nil, errs.New(errs.Unavailable, "tpm.nv: index %#x ends at %d of %d bytes", index,
				len(data), public.DataSize)
		}
		data = append(data, read.Data.Buffer...)
	}
	return data, nil
}

// defineNV defines an index that its owner reads and writes with an empty password.
func (d *Device) defineNV(index uint32, kind tpm2.TPMNT, size int) error {
	_, err := tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner,
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{NVIndex: tpm2.TPMHandle(index), NameAlg: tpm2.TPMAlgSHA256,
			Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthRead: true, AuthWrite: true,
				NT: kind, NoDA: true}, DataSize: uint16(size)})}.Execute(d.tpm)
	return errs.As(errs.Unavailable, err, "tpm.nv: define index %#x", index)
}

// handles returns an index with its name, which changes when it is written for the first time, and
// the right to write it.
func (d *Device) handles(index uint32) (tpm2.NamedHandle, tpm2.AuthHandle, error) {
	_, name, err := d.describeNV(index)
	handle := tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: name}
	return handle, tpm2.AuthHandle{Handle: handle.Handle, Name: name, Auth: tpm2.PasswordAuth(nil)}, err
}

func (d *Device) writeNV(index uint32, data []byte) error {
	handle, auth, err := d.handles(index)
	if err != nil {
		return err
	}
	_, err = tpm2.NVWrite{AuthHandle: auth, NVIndex: handle,
		Data: tpm2.TPM2BMaxNVBuffer{Buffer: data}}.Execute(d.tpm)
	return errs.As(errs.Unavailable, err, "tpm.nv: write index %#x", index)
}

func (d *Device) incrementNV(index uint32) error {
	handle, auth, err := d.handles(index)
	if err != nil {
		return err
	}
	_, err = tpm2.NVIncrement{AuthHandle: auth, NVIndex: handle}.Execute(d.tpm)
	return errs.As(errs.Unavailable, err, "tpm.nv: increment index %#x", index)
}
