namespace Irpwright.Wdk;

/// <summary><c>MDL.MdlFlags</c>.</summary>
[Flags]
public enum MDL_FLAGS : ushort
{
    MDL_MAPPED_TO_SYSTEM_VA = 0x0001,
    MDL_PAGES_LOCKED = 0x0002,
    MDL_SOURCE_IS_NONPAGED_POOL = 0x0004,
    MDL_ALLOCATED_FIXED_SIZE = 0x0008,
    MDL_PARTIAL = 0x0010,
    MDL_PARTIAL_HAS_BEEN_MAPPED = 0x0020,
    MDL_IO_PAGE_READ = 0x0040,
    MDL_WRITE_OPERATION = 0x0080,
    MDL_PARENT_MAPPED_SYSTEM_VA = 0x0100,
    MDL_FREE_EXTRA_PTES = 0x0200,
    MDL_DESCRIBES_AWE = 0x0400,
    MDL_IO_SPACE = 0x0800,
    MDL_NETWORK_HEADER = 0x1000,
    MDL_MAPPING_CAN_FAIL = 0x2000,
    MDL_PAGE_CONTENTS_INVARIANT = 0x4000,
    MDL_INTERNAL = 0x8000,
}

public enum LOCK_OPERATION
{
    IoReadAccess,
    IoWriteAccess,
    IoModifyAccess,
}

public enum MEMORY_CACHING_TYPE
{
    MmNonCached = 0,
    MmCached = 1,
    MmWriteCombined = 2,
    MmHardwareCoherentCached = 3,
    MmNonCachedUnordered = 4,
    MmUSWCCached = 5,
    MmMaximumCacheType = 6,
    MmNotMapped = -1,
}

/// <summary>How hard to try when mapping, and what drivers add to it.</summary>
[Flags]
public enum MM_PAGE_PRIORITY : uint
{
    LowPagePriority = 0,
    NormalPagePriority = 16,
    HighPagePriority = 32,
    MdlMappingWithGuardPtes = 0x20000000,
    MdlMappingNoExecute = 0x40000000,
    MdlMappingNoWrite = 0x80000000,
}

public enum POOL_TYPE
{
    NonPagedPool = 0,
    NonPagedPoolExecute = 0,
    PagedPool = 1,
    NonPagedPoolMustSucceed = 2,
    DontUseThisType = 3,
    NonPagedPoolCacheAligned = 4,
    PagedPoolCacheAligned = 5,
    NonPagedPoolCacheAlignedMustS = 6,
    MaxPoolType = 7,
    NonPagedPoolSession = 32,
    PagedPoolSession = 33,
    NonPagedPoolNx = 512,
    NonPagedPoolNxCacheAligned = 516,
    NonPagedPoolSessionNx = 544,
}

/// <summary>Argument of <c>ExAllocatePool2</c>; without POOL_FLAG_UNINITIALIZED the memory is zeroed.</summary>
[Flags]
public enum POOL_FLAGS : ulong
{
    POOL_FLAG_USE_QUOTA = 0x001,
    POOL_FLAG_UNINITIALIZED = 0x002,
    POOL_FLAG_SESSION = 0x004,
    POOL_FLAG_CACHE_ALIGNED = 0x008,
    POOL_FLAG_RESERVED1 = 0x010,
    POOL_FLAG_RAISE_ON_FAILURE = 0x020,
    POOL_FLAG_NON_PAGED = 0x040,
    POOL_FLAG_NON_PAGED_EXECUTE = 0x080,
    POOL_FLAG_PAGED = 0x100,
    POOL_FLAG_RESERVED2 = 0x200,
    POOL_FLAG_RESERVED3 = 0x400,
    POOL_FLAG_SPECIAL_POOL = 0x1_0000_0000,
}

/// <summary>What becomes of a view in child processes.</summary>
public enum SECTION_INHERIT
{
    ViewShare = 1,
    ViewUnmap = 2,
}

public static partial class Constants
{
    public const int PAGE_SHIFT = 12;
    public const uint PAGE_SIZE = 1u << PAGE_SHIFT;
    public const uint MEMORY_ALLOCATION_ALIGNMENT = 16;

    /// <summary>Where every machine sees its KUSER_SHARED_DATA.</summary>
    public const ulong KI_USER_SHARED_DATA = 0xFFFFF780_00000000;

    // Protection of pages
    public const uint PAGE_NOACCESS = 0x01;
    public const uint PAGE_READONLY = 0x02;
    public const uint PAGE_READWRITE = 0x04;
    public const uint PAGE_WRITECOPY = 0x08;
    public const uint PAGE_EXECUTE = 0x10;
    public const uint PAGE_EXECUTE_READ = 0x20;
    public const uint PAGE_EXECUTE_READWRITE = 0x40;
    public const uint PAGE_EXECUTE_WRITECOPY = 0x80;
    public const uint PAGE_GUARD = 0x100;
    public const uint PAGE_NOCACHE = 0x200;
    public const uint PAGE_WRITECOMBINE = 0x400;

    // Allocation of virtual memory, and its end
    public const uint MEM_COMMIT = 0x00001000;
    public const uint MEM_RESERVE = 0x00002000;
    public const uint MEM_DECOMMIT = 0x00004000;
    public const uint MEM_RELEASE = 0x00008000;
    public const uint MEM_RESET = 0x00080000;
    public const uint MEM_TOP_DOWN = 0x00100000;
    public const uint MEM_PHYSICAL = 0x00400000;
    public const uint MEM_LARGE_PAGES = 0x20000000;

    // Sections
    public const uint SEC_FILE = 0x00800000;
    public const uint SEC_IMAGE = 0x01000000;
    public const uint SEC_RESERVE = 0x04000000;
    public const uint SEC_COMMIT = 0x08000000;
    public const uint SEC_NOCACHE = 0x10000000;
    public const uint SEC_LARGE_PAGES = 0x80000000;
    public const uint SECTION_QUERY = 0x0001;
    public const uint SECTION_MAP_WRITE = 0x0002;
    public const uint SECTION_MAP_READ = 0x0004;
    public const uint SECTION_MAP_EXECUTE = 0x0008;
    public const uint SECTION_EXTEND_SIZE = 0x0010;
    public const uint SECTION_ALL_ACCESS = 0x000F001F;

    // Flags of MmAllocatePagesForMdlEx
    public const uint MM_DONT_ZERO_ALLOCATION = 0x00000001;
    public const uint MM_ALLOCATE_FROM_LOCAL_NODE_ONLY = 0x00000002;
    public const uint MM_ALLOCATE_FULLY_REQUIRED = 0x00000004;
    public const uint MM_ALLOCATE_NO_WAIT = 0x00000008;
    public const uint MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS = 0x00000020;

    // Added to a POOL_TYPE
    public const int POOL_QUOTA_FAIL_INSTEAD_OF_RAISE = 8;
    public const int POOL_RAISE_IF_ALLOCATION_FAILURE = 16;

    // Flags of ExInitializeLookasideListEx
    public const uint EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL = 1;
    public const uint EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE = 2;
    public const int POOL_COLD_ALLOCATION = 256;
    public const int POOL_NX_ALLOCATION = 512;
}
