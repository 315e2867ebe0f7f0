"""What ``shoal doctor`` looks at: the installation, or one pool. Each finding says what to do about what is wrong."""

from shoal.doctor.finding import Finding
from shoal.doctor.installation import examine
from shoal.doctor.pools import examine_pool

__all__ = ["Finding", "examine", "examine_pool"]
