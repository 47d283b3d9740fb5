package image

import (
	"os"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

// Contents is an image that is open for reading.
type Contents struct {
	*erofs.Reader
	f *os.File
}

// Read opens an image's file system, to look up what a program needs of it.
func Read(image Image) (*Contents, error) {
	f, err := os.Open(image.Path)
	if err != nil {
		return nil, diskError(err, "image.read: %s", image.Name)
	}
	r, err := erofs.Open(f, image.Size)
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, errs.Wrap(err, "image.read: %s", image.Name)
	}
	return &Contents{Reader: r, f: f}, nil
}

// Close closes the image's file.
func (c *Contents) Close() error { return c.f.Close() }

// User is whom a program runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // besides GID
	Home     string   // empty where the image does not say
}

// maxAccounts bounds /etc/passwd and /etc/group, in bytes: tens of thousands of users.
const maxAccounts = 4 << 20

// User returns whom a config's user means in this image: "", "name", "uid", and either with
// ":group" or ":gid" behind it. A number needs no account; a name must have one, kind NotFound.
func (c *Contents) User(text string) (User, error) {
	name, group, _ := strings.Cut(text, ":")
	if name == "" {
		name = "0"
	}
	u := User{}
	number, err := strconv.ParseUint(name, 10, 32)
	account := c.account("/etc/passwd", 7, func(fields []string) bool {
		return fields[0] == name || err == nil && fields[2] == name
	})
	if account == nil && err != nil {
		return u, errs.New(errs.NotFound, "image.user: /etc/passwd has no user %q", name)
	}
	u.UID = uint32(number)
	if account != nil {
		u.UID, u.GID, u.Home = numberOf(account[2]), numberOf(account[3]), account[5]
	}
	if group == "" {
		if account != nil {
			u.Groups = c.groupsOf(account[0], u.GID)
		}
		return u, nil
	}
	if number, err := strconv.ParseUint(group, 10, 32); err == nil {
		u.GID = uint32(number)
		return u, nil
	}
	line := c.account("/etc/group", 4, func(fields []string) bool { return fields[0] == group })
	if line == nil {
		return u, errs.New(errs.NotFound, "image.user: /etc/group has no group %q", group)
	}
	u.GID = numberOf(line[2])
	return u, nil
}

// account returns the first line of an account file that matches, cut at its colons.
func (c *Contents) account(path string, fields int, match func(fields []string) bool) []string {
	for _, line := range c.accounts(path, fields) {
		if match(line) {
			return line
		}
	}
	return nil
}

// accounts returns the whole lines of an account file; an image without one has no accounts.
func (c *Contents) accounts(path string, fields int) [][]string {
	content, err := c.ReadFile(path, maxAccounts)
	if err != nil {
		return nil
	}
	var lines [][]string
	for line := range strings.Lines(string(content)) {
		cut := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(cut) == fields {
			lines = append(lines, cut)
		}
	}
	return lines
}

// groupsOf returns the groups that list a user, without the user's own.
func (c *Contents) groupsOf(name string, own uint32) []uint32 {
	var groups []uint32
	for _, line := range c.accounts("/etc/group", 4) {
		for member := range strings.SplitSeq(line[3], ",") {
			if id := numberOf(line[2]); member == name && id != own {
				groups = append(groups, id)
			}
		}
	}
	return groups
}

// numberOf reads an id; one that is none is nobody's.
func numberOf(text string) uint32 {
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 65534
	}
	return uint32(number)
}
