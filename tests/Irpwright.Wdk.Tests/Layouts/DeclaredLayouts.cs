using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;

namespace Irpwright.Wdk.Tests.Layouts;

/// <summary>The layouts as the runtime lays them out: measured on addresses, not read from the attributes.</summary>
static class DeclaredLayouts
{
    public static IReadOnlyList<Type> Types { get; } =
        [.. typeof(IRP).Assembly.GetTypes().Where(type => type.IsDefined(typeof(LayoutAttribute))).OrderBy(type => type.Name, StringComparer.Ordinal)];

    /// <summary>Every field, and every field of the unions and structures nested in the layout, as a dotted path.</summary>
    public static IEnumerable<string> Paths(Type layout, string prefix = "")
    {
        foreach (FieldInfo field in Fields(layout))
        {
            yield return prefix + field.Name;
            if (field.FieldType.IsNested && !field.FieldType.IsDefined(typeof(InlineArrayAttribute)))
                foreach (string path in Paths(field.FieldType, prefix + field.Name + ".")) yield return path;
        }
    }

    public static int OffsetOf(Type layout, string path)
    {
        DynamicMethod method = new("OffsetOf", typeof(long), [layout.MakeByRefType()]);
        ILGenerator il = method.GetILGenerator();
        il.Emit(OpCodes.Ldarg_0);
        Type type = layout;
        foreach (string name in path.Split('.'))
        {
            FieldInfo field = Fields(type).SingleOrDefault(field => field.Name == name)
                ?? throw new MissingFieldException(type.Name, name);
            il.Emit(OpCodes.Ldflda, field);
            type = field.FieldType;
        }
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Sub);
        il.Emit(OpCodes.Conv_I8);
        il.Emit(OpCodes.Ret);
        object?[] arguments = [Activator.CreateInstance(layout)];
        return (int)(long)method.Invoke(null, arguments)!;
    }

    public static int SizeOf(Type layout) =>
        (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(layout).Invoke(null, null)!;

    static FieldInfo[] Fields(Type type) => type.GetFields(BindingFlags.Public | BindingFlags.Instance);
}
