package trail
