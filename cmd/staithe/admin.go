package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"staithe/internal/auth"
	"staithe/internal/config"
	"staithe/internal/files/template"
	"staithe/internal/store"
)

func adminCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "admin",
		Short: "Manage users and their homes on the server's own machine",
		Long:  "Manage users from the machine that holds the data directory, whether the server runs or not.",
	}
	user := &cobra.Command{Use: "user", Short: "Manage users"}
	user.AddCommand(userAddCommand())
	c.AddCommand(user, resetLinkCommand(), trashCommand(), untrashCommand(), backupKeyCommand())
	return c
}

// withAuth opens the data directory's database for one command. The server may
// be running on it.
func withAuth(ctx context.Context, loader *config.Loader, do func(config.Config, *auth.Auth) error) error {
	cfg, err := loader.Load(os.Getenv)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, cfg.Data)
	if err != nil {
		return err
	}
	defer s.Close()
	a, err := auth.New(auth.Options{Store: s, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return do(cfg, a)
}

func origin(cfg config.Config) string {
	if cfg.URL != "" {
		return cfg.URL
	}
	return "http://" + cfg.Listen
}

func userAddCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user and print the link with which they choose a password",
		Long: `Add a user and print the link with which they choose a password.

With --home-template here, this user's home begins with that instead of the
server's template; with --home-template= with nothing but the host's /etc/skel.`,
		Args: cobra.ExactArgs(1),
	}
	loader := configFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return withAuth(cmd.Context(), loader, func(cfg config.Config, a *auth.Auth) error {
			if err := template.Check(cfg.HomeTemplate); err != nil {
				return err
			}
			user, link, err := a.CreateUser(cmd.Context(), args[0], auth.Secret{})
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("home-template") {
				t := templates{dir: templatesIn(cfg.Data)}
				if err := t.keep(user.ID, templateState{State: "chosen", Source: cfg.HomeTemplate}); err != nil {
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "user: %s\ninvite: %s/invite#%s\nvalid until: %s\n", user.Name, origin(cfg), link.Token.Reveal(), link.ExpiresAt.Local().Format("2006-01-02 15:04"))
			return nil
		})
	}
	return c
}

func resetLinkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "reset-link NAME",
		Short: "Print a link with which a user chooses a new password",
		Args:  cobra.ExactArgs(1),
	}
	loader := configFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return withAuth(cmd.Context(), loader, func(cfg config.Config, a *auth.Auth) error {
			user, err := a.User(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			link, err := a.ResetLink(cmd.Context(), user)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "reset: %s/invite#%s\nvalid until: %s\n", origin(cfg), link.Token.Reveal(), link.ExpiresAt.Local().Format("2006-01-02 15:04"))
			return nil
		})
	}
	return c
}
