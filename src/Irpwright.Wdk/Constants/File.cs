namespace Irpwright.Wdk;

/// <summary><c>FILE_OBJECT.Flags</c>.</summary>
[Flags]
public enum FO_FLAGS : uint
{
    FO_FILE_OPEN = 0x00000001,
    FO_SYNCHRONOUS_IO = 0x00000002,
    FO_ALERTABLE_IO = 0x00000004,
    FO_NO_INTERMEDIATE_BUFFERING = 0x00000008,
    FO_WRITE_THROUGH = 0x00000010,
    FO_SEQUENTIAL_ONLY = 0x00000020,
    FO_CACHE_SUPPORTED = 0x00000040,
    FO_NAMED_PIPE = 0x00000080,
    FO_STREAM_FILE = 0x00000100,
    FO_MAILSLOT = 0x00000200,
    FO_GENERATE_AUDIT_ON_CLOSE = 0x00000400,
    FO_QUEUE_IRP_TO_THREAD = 0x00000400,
    FO_DIRECT_DEVICE_OPEN = 0x00000800,
    FO_FILE_MODIFIED = 0x00001000,
    FO_FILE_SIZE_CHANGED = 0x00002000,
    FO_CLEANUP_COMPLETE = 0x00004000,
    FO_TEMPORARY_FILE = 0x00008000,
    FO_DELETE_ON_CLOSE = 0x00010000,
    FO_OPENED_CASE_SENSITIVE = 0x00020000,
    FO_HANDLE_CREATED = 0x00040000,
    FO_FILE_FAST_IO_READ = 0x00080000,
    FO_RANDOM_ACCESS = 0x00100000,
    FO_FILE_OPEN_CANCELLED = 0x00200000,
    FO_VOLUME_OPEN = 0x00400000,
    FO_REMOTE_ORIGIN = 0x01000000,
    FO_DISALLOW_EXCLUSIVE = 0x02000000,
    FO_SKIP_COMPLETION_PORT = 0x02000000,
    FO_SKIP_SET_EVENT = 0x04000000,
    FO_SKIP_SET_FAST_IO = 0x08000000,
}

/// <summary><c>OBJECT_ATTRIBUTES.Attributes</c>.</summary>
[Flags]
public enum OBJ_FLAGS : uint
{
    OBJ_INHERIT = 0x00000002,
    OBJ_PERMANENT = 0x00000010,
    OBJ_EXCLUSIVE = 0x00000020,
    OBJ_CASE_INSENSITIVE = 0x00000040,
    OBJ_OPENIF = 0x00000080,
    OBJ_OPENLINK = 0x00000100,
    OBJ_KERNEL_HANDLE = 0x00000200,
    OBJ_FORCE_ACCESS_CHECK = 0x00000400,
    OBJ_IGNORE_IMPERSONATED_DEVICEMAP = 0x00000800,
    OBJ_DONT_REPARSE = 0x00001000,
}

/// <summary>What IoCreateFile creates.</summary>
public enum CREATE_FILE_TYPE
{
    CreateFileTypeNone,
    CreateFileTypeNamedPipe,
    CreateFileTypeMailslot,
}

public static partial class Constants
{
    // ACCESS_MASK
    public const uint DELETE = 0x00010000;
    public const uint READ_CONTROL = 0x00020000;
    public const uint WRITE_DAC = 0x00040000;
    public const uint WRITE_OWNER = 0x00080000;
    public const uint SYNCHRONIZE = 0x00100000;
    public const uint STANDARD_RIGHTS_REQUIRED = 0x000F0000;
    public const uint STANDARD_RIGHTS_READ = READ_CONTROL;
    public const uint STANDARD_RIGHTS_WRITE = READ_CONTROL;
    public const uint STANDARD_RIGHTS_EXECUTE = READ_CONTROL;
    public const uint STANDARD_RIGHTS_ALL = 0x001F0000;
    public const uint SPECIFIC_RIGHTS_ALL = 0x0000FFFF;
    public const uint ACCESS_SYSTEM_SECURITY = 0x01000000;
    public const uint MAXIMUM_ALLOWED = 0x02000000;
    public const uint GENERIC_READ = 0x80000000;
    public const uint GENERIC_WRITE = 0x40000000;
    public const uint GENERIC_EXECUTE = 0x20000000;
    public const uint GENERIC_ALL = 0x10000000;
    public const uint FILE_READ_DATA = 0x0001;
    public const uint FILE_LIST_DIRECTORY = 0x0001;
    public const uint FILE_WRITE_DATA = 0x0002;
    public const uint FILE_ADD_FILE = 0x0002;
    public const uint FILE_APPEND_DATA = 0x0004;
    public const uint FILE_ADD_SUBDIRECTORY = 0x0004;
    public const uint FILE_CREATE_PIPE_INSTANCE = 0x0004;
    public const uint FILE_READ_EA = 0x0008;
    public const uint FILE_WRITE_EA = 0x0010;
    public const uint FILE_EXECUTE = 0x0020;
    public const uint FILE_TRAVERSE = 0x0020;
    public const uint FILE_DELETE_CHILD = 0x0040;
    public const uint FILE_READ_ATTRIBUTES = 0x0080;
    public const uint FILE_WRITE_ATTRIBUTES = 0x0100;
    public const uint FILE_ALL_ACCESS = STANDARD_RIGHTS_REQUIRED | SYNCHRONIZE | 0x1FF;
    public const uint FILE_GENERIC_READ = STANDARD_RIGHTS_READ | FILE_READ_DATA | FILE_READ_ATTRIBUTES | FILE_READ_EA | SYNCHRONIZE;
    public const uint FILE_GENERIC_WRITE =
        STANDARD_RIGHTS_WRITE | FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES | FILE_WRITE_EA | FILE_APPEND_DATA | SYNCHRONIZE;
    public const uint FILE_GENERIC_EXECUTE = STANDARD_RIGHTS_EXECUTE | FILE_READ_ATTRIBUTES | FILE_EXECUTE | SYNCHRONIZE;

    // Share access
    public const int FILE_SHARE_READ = 0x1;
    public const int FILE_SHARE_WRITE = 0x2;
    public const int FILE_SHARE_DELETE = 0x4;
    public const int FILE_SHARE_VALID_FLAGS = 0x7;

    // Create disposition
    public const uint FILE_SUPERSEDE = 0;
    public const uint FILE_OPEN = 1;
    public const uint FILE_CREATE = 2;
    public const uint FILE_OPEN_IF = 3;
    public const uint FILE_OVERWRITE = 4;
    public const uint FILE_OVERWRITE_IF = 5;
    public const uint FILE_MAXIMUM_DISPOSITION = 5;

    // IO_STATUS_BLOCK.Information of a create request
    public const uint FILE_SUPERSEDED = 0;
    public const uint FILE_OPENED = 1;
    public const uint FILE_CREATED = 2;
    public const uint FILE_OVERWRITTEN = 3;
    public const uint FILE_EXISTS = 4;
    public const uint FILE_DOES_NOT_EXIST = 5;

    // Create options
    public const uint FILE_DIRECTORY_FILE = 0x00000001;
    public const uint FILE_WRITE_THROUGH = 0x00000002;
    public const uint FILE_SEQUENTIAL_ONLY = 0x00000004;
    public const uint FILE_NO_INTERMEDIATE_BUFFERING = 0x00000008;
    public const uint FILE_SYNCHRONOUS_IO_ALERT = 0x00000010;
    public const uint FILE_SYNCHRONOUS_IO_NONALERT = 0x00000020;
    public const uint FILE_NON_DIRECTORY_FILE = 0x00000040;
    public const uint FILE_CREATE_TREE_CONNECTION = 0x00000080;
    public const uint FILE_COMPLETE_IF_OPLOCKED = 0x00000100;
    public const uint FILE_NO_EA_KNOWLEDGE = 0x00000200;
    public const uint FILE_OPEN_REMOTE_INSTANCE = 0x00000400;
    public const uint FILE_RANDOM_ACCESS = 0x00000800;
    public const uint FILE_DELETE_ON_CLOSE = 0x00001000;
    public const uint FILE_OPEN_BY_FILE_ID = 0x00002000;
    public const uint FILE_OPEN_FOR_BACKUP_INTENT = 0x00004000;
    public const uint FILE_NO_COMPRESSION = 0x00008000;
    public const uint FILE_OPEN_REQUIRING_OPLOCK = 0x00010000;
    public const uint FILE_DISALLOW_EXCLUSIVE = 0x00020000;
    public const uint FILE_RESERVE_OPFILTER = 0x00100000;
    public const uint FILE_OPEN_REPARSE_POINT = 0x00200000;
    public const uint FILE_OPEN_NO_RECALL = 0x00400000;
    public const uint FILE_OPEN_FOR_FREE_SPACE_QUERY = 0x00800000;
    public const uint FILE_VALID_OPTION_FLAGS = 0x00FFFFFF;

    // File attributes
    public const int FILE_ATTRIBUTE_READONLY = 0x0001;
    public const int FILE_ATTRIBUTE_HIDDEN = 0x0002;
    public const int FILE_ATTRIBUTE_SYSTEM = 0x0004;
    public const int FILE_ATTRIBUTE_DIRECTORY = 0x0010;
    public const int FILE_ATTRIBUTE_ARCHIVE = 0x0020;
    public const int FILE_ATTRIBUTE_DEVICE = 0x0040;
    public const int FILE_ATTRIBUTE_NORMAL = 0x0080;
    public const int FILE_ATTRIBUTE_TEMPORARY = 0x0100;

    // ByteOffset of a read or write request
    public const int FILE_USE_FILE_POINTER_POSITION = -2;
    public const int FILE_WRITE_TO_END_OF_FILE = -1;

    // FILE_IO_COMPLETION_NOTIFICATION_INFORMATION.Flags
    public const uint FILE_SKIP_COMPLETION_PORT_ON_SUCCESS = 0x1;
    public const uint FILE_SKIP_SET_EVENT_ON_HANDLE = 0x2;
    public const uint FILE_SKIP_SET_USER_EVENT_ON_FAST_IO = 0x4;

    // IO_STATUS_BLOCK.Information of a request that ends with STATUS_REPARSE: these, or the tag of a reparse point
    public const uint IO_REPARSE = 0;
    public const uint IO_REMOUNT = 1;
    public const uint IO_REPARSE_TAG_RESERVED_RANGE = 1;
    public const uint IO_REPARSE_TAG_MOUNT_POINT = 0xA0000003;
    public const uint IO_REPARSE_TAG_SYMLINK = 0xA000000C;
}
