package jail

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ProgramFiles lists what a program is loaded with: nothing where it is static,
// else its interpreter and libraries.
func ProgramFiles(path string) ([]string, error) {
	seen := map[string]bool{}
	var list []string
	var add func(path string) error
	var folders []string
	add = func(path string) error {
		f, err := elf.Open(path)
		if err != nil {
			return fmt.Errorf("read the program %s: %w", path, err)
		}
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type != elf.PT_INTERP {
				continue
			}
			b := make([]byte, min(p.Filesz, 4096))
			if _, err := p.ReadAt(b, 0); err != nil {
				return fmt.Errorf("read the program %s: %w", path, err)
			}
			interp := strings.TrimRight(string(b), "\x00")
			if !seen[interp] && filepath.IsAbs(interp) {
				seen[interp] = true
				list = append(list, interp)
				if real, err := filepath.EvalSymlinks(interp); err == nil {
					folders = append(folders, filepath.Dir(real))
				}
			}
		}
		libs, err := f.ImportedLibraries()
		if err != nil {
			return fmt.Errorf("read the program %s: %w", path, err)
		}
		for _, lib := range libs {
			if seen[lib] {
				continue
			}
			seen[lib] = true
			at, err := findLibrary(lib, folders)
			if err != nil {
				return err
			}
			if !seen[at] {
				seen[at] = true
				list = append(list, at)
			}
			if err := add(at); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(path); err != nil {
		return nil, err
	}
	return list, nil
}

// findLibrary looks where the dynamic loader does by itself.
func findLibrary(name string, near []string) (string, error) {
	usual, _ := filepath.Glob("/lib/*-linux-gnu*") // the pattern is a good one
	for _, dir := range append(append(append([]string{}, usual...), "/lib64", "/lib", "/usr/lib64", "/usr/lib"), near...) {
		at := filepath.Join(dir, name)
		if _, err := os.Stat(at); err == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("the library %s, which a program needs, is not where libraries are", name)
}
