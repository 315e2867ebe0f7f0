"""Which methods and functions leave their objects as they are, and what their results share with them. PURE.

Only names are known here. They count for objects of libraries that are known (:data:`LIBRARIES`); a class of the user's own may
have a method ``get`` that does anything.
"""

from __future__ import annotations

__all__ = [
    "FRESH_METHODS",
    "HOLDING",
    "INSTANCE",
    "LIBRARIES",
    "LIBRARY",
    "MODULE",
    "MODULE_FUNCTIONS",
    "OBJECT",
    "PURE_METHODS",
    "SCALAR_BUILTINS",
    "STORING_METHODS",
    "out_place",
]

_LIBRARIES = """
abc array bisect builtins calendar cmath collections copy csv dataclasses datetime decimal enum fractions functools
hashlib heapq itertools json math numbers operator os pathlib random re statistics string struct textwrap time types
typing unicodedata uuid zoneinfo
altair awkward bokeh geopandas joblib lightgbm matplotlib networkx numba numpy pandas patsy PIL plotly polars pyarrow
pytz scipy seaborn shapely skimage sklearn statsmodels sympy tensorflow torch torchvision xarray xgboost
"""

LIBRARIES = frozenset(_LIBRARIES.split())
"""Top-level modules whose objects do what the names of their methods say."""

LIBRARY, INSTANCE, OBJECT, MODULE = "library", "instance", "object", "module"
"""What an object has to be so that its methods do what their names say: of a known library; and no class; and no module either; or
a module."""

_FRESH = """
capitalize casefold center count decode encode endswith expandtabs find format format_map hex index isalnum isalpha isascii
isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans
partition removeprefix removesuffix rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase
title translate upper zfill as_integer_ratio bit_length conjugate is_integer to_bytes

isdisjoint issubset issuperset total

abs all allclose any arange arccos arcsin arctan arctan2 argmax argmin argpartition argsort array_equal average bincount
ceil clip conj convolve corrcoef cos cosh cov cross cumprod cumsum deg2rad diff digitize divide dot dtype exp expm1 eye
floor full full_like histogram hypot inner interp isclose isfinite isinf isnan isnull isna kron lexsort linspace log log10
log1p log2 logical_and logical_not logical_or logspace matmul max maximum mean median min minimum mod mode multiply nanmax
nanmean nanmedian nanmin nanstd nansum nanvar nonzero notna notnull ones ones_like outer percentile polyfit polyval power
prod ptp quantile rad2deg radians repeat rint round searchsorted sign sin sinh sqrt square std sum tan tanh
tensordot tobytes tolist trace trapezoid tril triu unique var vdot vstack hstack column_stack where zeros zeros_like fsum
cholesky cond det eig eigh eigvals eigvalsh expm fft ifft irfft inv lstsq matrix_power matrix_rank norm pinv qr rfft
slogdet solve svd
gcd lcm comb perm factorial dist isqrt degrees

between clip corr corrwith cummax cummin describe dropna drop_duplicates duplicated eq equals fillna first_valid_index ge get_dummies
agg aggregate crosstab cumcount cut explode ngroup nth qcut
gt idxmax idxmin info interpolate isin kurt last_valid_index le lt mad melt memory_usage merge ne nlargest nsmallest
nunique pct_change pivot pivot_table product rank read_csv read_json read_parquet replace reset_index resample_mean
select_dtypes sem shift size skew sort_index sort_values stack to_csv to_datetime to_dict to_html to_json to_latex
to_markdown to_numeric to_parquet to_pickle to_records to_string to_timedelta unstack value_counts

predict predict_log_proba predict_proba decision_function score kneighbors get_params inverse_transform

strftime isoformat timestamp date time weekday isoweekday toordinal utcoffset total_seconds
exists is_dir is_file read_text read_bytes stat fullmatch match search findall sub subn
"""  # text and numbers; sets; numpy and math; pandas; scikit-learn; dates, paths and patterns

FRESH_METHODS = frozenset(_FRESH.split())
"""Methods (and functions of modules) that leave everything as it is, and whose results share nothing with it."""

_HOLDING = "copy keys union intersection difference symmetric_difference most_common fromkeys concat concatenate assign drop rename"

HOLDING = frozenset(_HOLDING.split()) | {
    "list",
    "dict",
    "set",
    "tuple",
    "frozenset",
    "sorted",
    "zip",
    "enumerate",
    "map",
    "filter",
    "reversed",
    "slice",
}
"""Methods and built-in functions whose result is a new object, parts of which may be parts of what they were given."""

_SHARING = """
get items values elements view reshape ravel flatten squeeze transpose swapaxes expand_dims moveaxis broadcast_to diagonal
atleast_1d atleast_2d asarray array astype to_numpy head tail sample groupby rolling expanding ewm iterrows itertuples
query set_index reindex to_frame set_axis xs take loc iloc iat transform nodes edges neighbors
"""

PURE_METHODS = FRESH_METHODS | frozenset(_HOLDING.split()) | frozenset(_SHARING.split())
"""Methods (and functions of modules) that leave everything as it is."""

_SCALAR_BUILTINS = """
all any ascii bin bool bytes callable chr complex divmod float format hasattr hash hex id int isinstance issubclass len
oct ord pow print range repr round str type display
"""

SCALAR_BUILTINS = frozenset(_SCALAR_BUILTINS.split())
"""Built-in functions whose results share nothing with their arguments."""

_STORING_METHODS = """
append extend insert remove pop clear sort reverse add discard update popitem setdefault appendleft popleft extendleft
rotate intersection_update difference_update symmetric_difference_update subtract move_to_end fill put itemset write
writelines writerow writerows
"""

STORING_METHODS = frozenset(_STORING_METHODS.split())
"""Methods that change their object, but not what they are given: they only keep it."""

MODULE_FUNCTIONS = frozenset({"append", "insert", "sort", "partition", "add"})
"""The part of them that functions of modules have as a name, too, and these leave what they are given as it is."""

_OUT = {
    1: """abs absolute ceil conj conjugate cos cosh deg2rad exp exp2 expm1 fabs floor isfinite isinf isnan log log10 log1p
    log2 logical_not negative positive rad2deg reciprocal rint sign sin sinh sqrt square tan tanh trunc""",
    2: """add all any argmax argmin concatenate divide dot equal floor_divide fmax fmin greater greater_equal hypot
    less less_equal logical_and logical_or logical_xor matmul max maximum median min minimum mod multiply nanmax nanmin
    not_equal outer power remainder round stack subtract true_divide""",
    3: "choose clip cumprod cumsum mean nanmean nanmedian nanstd nansum nanvar percentile prod quantile std sum take trace var",
}
_OUT_PLACES = {name: place for place, names in _OUT.items() for name in names.split()}


def out_place(name: str) -> int | None:
    """The place of the argument that a function of a module writes its result to, if it is given one; a method has it one before.

    Args:
        name: the function's.
    """
    return _OUT_PLACES.get(name)
