package fleet

import (
	"errors"
	"slices"
	"strings"

	"staithe/internal/station"
)

// DefaultClass is the class of a fleet that is given none.
const DefaultClass = "standard"

// Images finds the base file systems that classes name.
type Images interface {
	// Hold says where an imported image's root file system is on the host, and
	// keeps it there until release. The error wraps station.ErrNotFound when
	// there is none of that name.
	Hold(name string) (rootfs string, release func(), err error)
	// Sweep removes older versions of images that no sandbox stands on any more.
	Sweep() error
}

// classes are the kinds of session that the configuration has.
type classes struct {
	list  []station.Class
	usual string
}

func newClasses(o Options) (classes, error) {
	c := classes{list: slices.Clone(o.Classes), usual: o.DefaultClass}
	if len(c.list) == 0 {
		c.list = []station.Class{{Name: DefaultClass, Base: station.BaseHost, Network: station.NetworkPolicy{Mode: station.NetworkNone}}}
	}
	if c.usual == "" {
		c.usual = c.list[0].Name
	}
	if _, ok := c.find(c.usual); !ok {
		return c, station.Errorf(station.ErrInvalid, "bad_class", "The default session class %+q is none of the configured: %s.", c.usual, c.names())
	}
	return c, nil
}

func (c classes) find(name string) (station.Class, bool) {
	i := slices.IndexFunc(c.list, func(k station.Class) bool { return k.Name == name })
	if i < 0 {
		return station.Class{}, false
	}
	return c.list[i], true
}

func (c classes) names() string {
	names := make([]string, len(c.list))
	for i, k := range c.list {
		names[i] = k.Name
	}
	return strings.Join(names, ", ")
}

// classOf is the class of a session that runs or is to run.
func (f *Fleet) classOf(s station.Session) (station.Class, error) {
	c, ok := f.classes.find(s.Class)
	if !ok {
		return c, station.Errorf(station.ErrConflict, "class_gone",
			"The session's class %s is not in the server's configuration any more (there is %s). Ask the administrator to bring it back, or make a new session: the home is the same.", s.Class, f.classes.names())
	}
	return c, nil
}

// choose is the class that a new session gets.
func (f *Fleet) choose(name string) (station.Class, error) {
	if name == "" {
		name = f.classes.usual
	}
	c, ok := f.classes.find(name)
	if !ok {
		return c, station.Errorf(station.ErrInvalid, "bad_class", "There is no session class %+q; leave it out or take one of: %s.", name, f.classes.names())
	}
	return c, nil
}

// base is the host path of the root file system that a class's sessions get; ""
// is the host's own programs. Release it once the sandbox stands on it.
func (f *Fleet) base(c station.Class) (rootfs string, release func(), err error) {
	if c.Base == "" || c.Base == station.BaseHost {
		return "", func() {}, nil
	}
	none := station.Errorf(station.ErrUnavailable, "no_image",
		"The image %s of the session's class %s is not on this server; ask the administrator to import it.", c.Base, c.Name)
	if f.images == nil {
		return "", nil, none
	}
	rootfs, release, err = f.images.Hold(c.Base)
	if errors.Is(err, station.ErrNotFound) {
		return "", nil, none.Because(err)
	}
	return rootfs, release, err
}
