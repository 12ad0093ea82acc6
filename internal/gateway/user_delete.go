package gateway

import "context"

// deleteUser ends everything first, removes what the user owns, and the
// account last: when something fails in between, the user is disabled and
// deleting again goes on.
func (g *Gateway) deleteUser(ctx context.Context, _ caller, in *UserRef) (*nothing, error) {
	u, err := g.auth.User(ctx, in.User)
	if err != nil {
		return nil, err
	}
	yes := true
	if _, err := g.auth.SetFlags(ctx, u.ID, &yes, nil); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := g.fleet.RemoveUser(ctx, u.ID); err != nil {
		return nil, err
	}
	return &nothing{}, g.auth.DeleteUser(ctx, u.ID)
}
