package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"staithe/internal/guestapi"
	"staithe/internal/station"
)

func keepAwakeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keep-awake SESSION DURATION|off",
		Short: "Keep a session from going to sleep by itself",
		Long: `Keep a session from going to sleep by itself for so long, whatever it does: 2h,
90m, at most 168h (7 days). With off it may sleep again as its class's rule says.
Inside a session the command keep-awake does the same. It wakes nothing.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := guestapi.ParseKeepAwake(args[1])
			if err != nil {
				return station.Errorf(station.ErrInvalid, "bad_duration", "%v.", err)
			}
			a, err := connect()
			if err != nil {
				return err
			}
			var s station.Session
			if err := a.call(cmd.Context(), "POST", "/sessions/"+args[0]+"/keep-awake", map[string]int64{"seconds": int64(d / time.Second)}, &s); err != nil {
				return err
			}
			if s.KeepAwakeUntil.IsZero() {
				fmt.Fprintf(cmd.OutOrStdout(), "%s may sleep again.\n", s.Name)
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s stays awake until %s.\n", s.Name, s.KeepAwakeUntil.Local().Format("2 Jan 15:04"))
			return nil
		},
	}
}
