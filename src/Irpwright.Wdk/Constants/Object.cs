namespace Irpwright.Wdk;

/// <summary>What ZwQueryObject is asked for.</summary>
public enum OBJECT_INFORMATION_CLASS
{
    ObjectBasicInformation = 0,
    ObjectNameInformation = 1,
    ObjectTypeInformation = 2,
}

/// <summary>Options of ZwDuplicateObject.</summary>
[Flags]
public enum DUPLICATE_OPTIONS : uint
{
    DUPLICATE_CLOSE_SOURCE = 0x00000001,
    DUPLICATE_SAME_ACCESS = 0x00000002,
    DUPLICATE_SAME_ATTRIBUTES = 0x00000004,
}

public static partial class Constants
{
    public const uint DIRECTORY_QUERY = 0x0001;
    public const uint DIRECTORY_TRAVERSE = 0x0002;
    public const uint DIRECTORY_CREATE_OBJECT = 0x0004;
    public const uint DIRECTORY_CREATE_SUBDIRECTORY = 0x0008;
    public const uint DIRECTORY_ALL_ACCESS = STANDARD_RIGHTS_REQUIRED | 0xF;

    public const uint SYMBOLIC_LINK_QUERY = 0x0001;
    public const uint SYMBOLIC_LINK_ALL_ACCESS = STANDARD_RIGHTS_REQUIRED | 0x1;
}
