// Package report prints a line a check, as `cargo xtask interop` reads them.
package report

import (
	"fmt"
	"os"
)

// Check is a named check.
type Check struct {
	Name string
	Run  func() error
}

// Run runs the checks and ends the process: status 1 if any failed.
func Run(checks []Check) {
	status := 0
	for _, check := range checks {
		if err := check.Run(); err != nil {
			status = 1
			fmt.Printf("FAILED %s: %v\n", check.Name, err)
		} else {
			fmt.Printf("ok %s\n", check.Name)
		}
	}
	os.Exit(status)
}
