package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"staithe/internal/auth"
	"staithe/internal/config"
	"staithe/internal/store"
	"staithe/internal/volume"
)

func trashCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "trash",
		Short: "List the homes of deleted users that are still there",
		Long:  "List the homes of deleted users. Each is removed for good 30 days after its user was deleted.",
		Args:  cobra.NoArgs,
	}
	loader := configFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loader.Load(os.Getenv)
		if err != nil {
			return err
		}
		v, err := volume.Open(cfg.Data)
		if err != nil {
			return err
		}
		defer v.Close()
		list, err := v.Trashed()
		for _, h := range list {
			fmt.Fprintf(cmd.OutOrStdout(), "%s  deleted %s, kept until %s\n", h.Name, h.At.Format("2006-01-02 15:04"), h.At.Add(volume.TrashLife).Format("2006-01-02"))
		}
		if err == nil && len(list) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "There is none.")
		}
		return err
	}
	return c
}

func untrashCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "untrash HOME USER",
		Short: "Give a deleted user's home to a user, as a folder",
		Long: `Move a deleted user's home out of the trash, into the home of USER: as one
folder at its top, all of it USER's. The server may be running.`,
		Args: cobra.ExactArgs(2),
	}
	loader := configFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loader.Load(os.Getenv)
		if err != nil {
			return err
		}
		folder, err := untrash(cmd.Context(), cfg, args[0], args[1])
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "It is in the home of %s: %s\n", args[1], folder)
		}
		return err
	}
	return c
}

func untrash(ctx context.Context, cfg config.Config, name, user string) (folder string, err error) {
	s, err := store.Open(ctx, cfg.Data)
	if err != nil {
		return "", err
	}
	defer s.Close()
	a, err := auth.New(auth.Options{Store: s, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	u, err := a.User(ctx, user)
	if err != nil {
		return "", err
	}
	ws, err := s.Workstation(ctx, u.ID)
	if err != nil {
		return "", err
	}
	v, err := volume.Open(cfg.Data)
	if err != nil {
		return "", err
	}
	defer v.Close()
	return v.Untrash(ctx, name, ws)
}
